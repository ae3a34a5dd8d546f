"""What predictions are written as: masks of COCO, GeoTIFF, frames of a video."""
