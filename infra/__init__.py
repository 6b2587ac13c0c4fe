"""What is deployed to AWS: two stacks, one construct a file."""
