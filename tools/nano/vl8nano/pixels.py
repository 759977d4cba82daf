"""Pictures to patch rows on the device of the model (spec 5.3, 5.4)."""
import torch


def rows(pixels, video):
    """uint8 [B,K,H,W,C] -> float [B,groups,n,1536]; images are doubled along time, clips taken in pairs of frames."""
    b, k, h, w, c = pixels.shape
    x = (pixels.float() - 127.5) / 127.5
    if c == 1:
        x = x.expand(b, k, h, w, 3)
    if video:
        if k % 2:
            x = torch.cat((x, x[:, -1:]), 1)
        x = x.view(b, x.shape[1] // 2, 2, h, w, 3)
    else:
        x = x[:, :, None].expand(b, k, 2, h, w, 3)
    g, gh, gw = x.shape[1], h // 16, w // 16
    x = x.reshape(b, g, 2, gh // 2, 2, 16, gw // 2, 2, 16, 3).permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)
    return x.reshape(b, g, gh * gw, 1536)
