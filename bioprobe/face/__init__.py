"""What a person may ask: the public names, one method or function a question.

Commands, the demonstration and the notebooks call what stands here and nothing below.
"""
