"""What each command understands: its options, their ranges and help; light to import."""
