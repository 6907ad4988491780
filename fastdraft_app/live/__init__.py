"""The live screen: tokens being accepted and rejected, beside autoregressive decoding."""
