"""Programs for who works on Gavotte itself, run by make."""
