"""The stores of subscriptions."""
