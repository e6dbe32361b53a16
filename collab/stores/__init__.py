"""Where documents are kept: `base` is the contract, the others fulfil it."""
