"""What is slow and what is fast, in one run, as ratios: these numbers mean little alone on a shared machine."""
