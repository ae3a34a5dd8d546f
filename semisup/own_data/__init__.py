"""From a folder of pictures to one that can be trained on."""
