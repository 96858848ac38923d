"""The science, one folder per paper, with the same few file names in each."""
