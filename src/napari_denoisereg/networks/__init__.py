"""Networks: plain ``nn.Module``s, 2D and 3D in one class; settings are constructor arguments."""
