"""Views of an image: crops and colours."""
