"""The processes of an image, from its Procfile."""
