"""What is carried to devices: files that run there by themselves."""
