"""Label Studio: its wire types and labeling configuration, prompts from it, regions to it, its API, and the backend."""
