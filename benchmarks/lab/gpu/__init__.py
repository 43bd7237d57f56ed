"""What a GPU is asked, stage by stage: gpu.sh runs them."""
