"""What the benchmark measures beside the project: the same rules as others would write them."""
