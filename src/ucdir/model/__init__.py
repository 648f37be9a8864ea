"""The networks of the framework (Fig. 1): initial predictor u_φ and diffusion model f_θ."""
