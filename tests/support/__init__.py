"""What several test files share: commands, small disks, comparisons, made-up runs."""
