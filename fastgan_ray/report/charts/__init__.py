"""Results as charts: coordinates as plain data, and the ablation's curves as files."""
