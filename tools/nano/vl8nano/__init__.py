"""Training side of vl8-nano: generators, tokenizer, model and trainer. Nothing here is needed to run vl8."""
