"""Claims of the literature as small studies: what a paper says, how it is tested here, and what came of it."""
