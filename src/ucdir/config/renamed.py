"""Keys of earlier versions: an error names the new one."""

RENAMED = {
    "sampling.start": "sampling.start_fraction",
    "sampling.noise": "sampling.noise_scale",
    "model.diffusion_model.residual_deviation": "model.diffusion_model.sigma_data",
}
