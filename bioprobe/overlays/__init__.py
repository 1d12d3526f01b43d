"""What is drawn upon pictures: text in any script, boxes with labels, contact sheets, strips.

Everything here takes pictures, regions, texts and colours, and knows nothing of what they mean.
"""
