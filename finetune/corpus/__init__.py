"""The invented valley that the demo's base model learns to speak about, and that the example owners live in."""
