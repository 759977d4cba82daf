"""Configuration of vl8-nano, in the published spelling."""


def config(tokenizer):
    a = tokenizer.added
    text = {"model_type": "qwen3_vl_text", "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 768, "vocab_size": 4096, "hidden_act": "silu",
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [12, 10, 10], "rope_type": "default"},
            "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": a["<|endoftext|>"],
            "eos_token_id": a["<|im_end|>"], "pad_token_id": a["<|endoftext|>"], "initializer_range": 0.02, "use_cache": True,
            "dtype": "bfloat16"}
    vision = {"model_type": "qwen3_vl", "depth": 6, "hidden_size": 192, "hidden_act": "gelu_pytorch_tanh",
              "intermediate_size": 768, "num_heads": 3, "in_channels": 3, "patch_size": 16, "spatial_merge_size": 2,
              "temporal_patch_size": 2, "out_hidden_size": 256, "num_position_embeddings": 1600,
              "deepstack_visual_indexes": [1, 3, 5], "initializer_range": 0.02}
    return {"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": True,
            "text_config": text, "vision_config": vision, "image_token_id": a["<|image_pad|>"],
            "video_token_id": a["<|video_pad|>"], "vision_start_token_id": a["<|vision_start|>"],
            "vision_end_token_id": a["<|vision_end|>"]}
