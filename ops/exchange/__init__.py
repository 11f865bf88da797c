"""The KuCoin wire simulator: HTTP and WebSocket around the simulated exchange, profile `tick`."""
