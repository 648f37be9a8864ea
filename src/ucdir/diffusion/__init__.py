"""The diffusion of the residual: training loss (Eq. 1), noise schedule, samplers, and noise by place."""
