"""llama.cpp's own choices on this CPU: how it was built, types of weights, and where their kernels find them."""
