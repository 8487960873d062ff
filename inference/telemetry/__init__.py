"""What this machine says of its power, heat and load: read by one sampler, shown and routed by as one frozen value."""
