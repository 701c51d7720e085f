"""FlowTok's generator: a straight flow between the latents of captions and those of pictures, in either direction."""
