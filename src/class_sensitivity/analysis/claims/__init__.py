"""Claims of published papers, judged from results; one file a paper."""
