"""A folder in, COCO, YOLO or Label Studio files out."""
