# Text to video
rawgenai dashscope video create "一只猫在花园里玩耍"

# Image to video
rawgenai dashscope video create "让画面中的人物微笑" --image photo.jpg

# Image to video with URL
rawgenai dashscope video create "让画面动起来" --image https://example.com/photo.jpg

# Keyframe to video (first frame only)
rawgenai dashscope video create "镜头缓缓推进" --first-frame start.jpg

# Keyframe to video (first + last frame)
rawgenai dashscope video create "场景过渡" --first-frame start.jpg --last-frame end.jpg

# With audio
rawgenai dashscope video create "海浪拍打沙滩" --audio

# With custom audio file
rawgenai dashscope video create "人物说话" --image photo.jpg --audio-url https://example.com/speech.wav

# Custom settings
rawgenai dashscope video create "竖屏短视频" --ratio 9:16 --resolution 1080P --duration 10

# Multi-shot narrative (wan2.6 only)
rawgenai dashscope video create "多镜头叙事短片" --shot-type multi --duration 15

# Reference to video - single character
rawgenai dashscope video create "character1 在海边散步" --ref person.jpg

# Reference to video - multiple characters
rawgenai dashscope video create "character1 和 character2 在公园聊天" \
  --ref person1.jpg --ref person2.jpg

# Reference to video - with video reference
rawgenai dashscope video create "character1 在视频中的场景里跳舞" \
  --ref person.jpg --ref scene.mp4

# Reference to video - no audio
rawgenai dashscope video create "character1 微笑" --ref person.jpg --no-audio

# From file
rawgenai dashscope video create --prompt-file prompt.txt

# From stdin
cat prompt.txt | rawgenai dashscope video create

rawgenai dashscope video status <task_id>
rawgenai dashscope video status <task_id> -v  # Show full output including URLs

rawgenai dashscope video download <task_id> -o output.mp4
