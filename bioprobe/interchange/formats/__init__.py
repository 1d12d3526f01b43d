"""One module a layout or family of layouts: how it is read and written."""
