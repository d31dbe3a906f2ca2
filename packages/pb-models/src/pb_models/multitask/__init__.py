"""Multi-task autoencoders: one network for all conditions, told which one through FiLM layers in its decoder."""
