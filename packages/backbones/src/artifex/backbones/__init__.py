"""Networks for diffusion models in Flax NNX: U-Net and DiT."""
