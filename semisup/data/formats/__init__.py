"""Files of data sets: pictures, lists, annotations."""
