// The first frame of a GIF through giflib. Pixels of the canvas that the frame leaves free have the
// transparent index, or index 0 when there is none, as in Pillow; a frame that sticks out of the canvas makes
// it larger.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "media/codec.h"

namespace vl8::codec {
namespace {

struct Bytes {
  const uint8_t* next;
  size_t left;
};

int read_bytes(GifFileType* gif, GifByteType* out, int count) {
  auto* bytes = static_cast<Bytes*>(gif->UserData);
  size_t n = std::min(bytes->left, size_t(std::max(count, 0)));
  std::memcpy(out, bytes->next, n);
  bytes->next += n, bytes->left -= n;
  return int(n);
}

void close_gif(GifFileType* gif) {
  int error = 0;
  DGifCloseFile(gif, &error);
}
using Gif = std::unique_ptr<GifFileType, decltype(&close_gif)>;

[[noreturn]] void fail_gif(const Input& in, int code) {
  const char* text = GifErrorString(code);
  fail_damaged(in, "GIF", text ? text : "the file is cut off");
}

Gif open(const Input& in, Bytes& bytes) {
  int error = 0;
  Gif gif(DGifOpen(&bytes, read_bytes, &error), close_gif);
  if (!gif) fail_gif(in, error);
  return gif;
}

// Reads up to the descriptor of the first frame; returns its transparent index or -1.
int find_first_frame(const Input& in, GifFileType* gif) {
  int transparent = -1;
  for (;;) {
    GifRecordType type;
    if (DGifGetRecordType(gif, &type) != GIF_OK) fail_gif(in, gif->Error);
    if (type == TERMINATE_RECORD_TYPE) fail_damaged(in, "GIF", "it has no picture");
    if (type == IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetImageDesc(gif) != GIF_OK) fail_gif(in, gif->Error);
      return transparent;
    }
    if (type != EXTENSION_RECORD_TYPE) continue;
    int code = 0;
    GifByteType* block = nullptr;  // block[0] is the length
    if (DGifGetExtension(gif, &code, &block) != GIF_OK) fail_gif(in, gif->Error);
    while (block) {
      if (code == GRAPHICS_EXT_FUNC_CODE && block[0] >= 4 && (block[1] & 1)) transparent = block[4];
      if (DGifGetExtensionNext(gif, &block) != GIF_OK) fail_gif(in, gif->Error);
    }
  }
}

struct Canvas {
  int width, height;
};
Canvas canvas_of(const Input& in, const GifFileType* gif) {
  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0) fail_damaged(in, "GIF", "the first frame has no pixels");
  int64_t w = std::max<int64_t>(gif->SWidth, int64_t(frame.Left) + frame.Width);
  int64_t h = std::max<int64_t>(gif->SHeight, int64_t(frame.Top) + frame.Height);
  check_size(in, w, h);
  return {int(w), int(h)};
}

// Row `n` of the order in which an interlaced frame is stored.
int interlaced_row(int n, int height) {
  constexpr int kFirst[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
  for (int pass = 0; pass < 4; ++pass) {
    int rows = kFirst[pass] < height ? (height - kFirst[pass] + kStep[pass] - 1) / kStep[pass] : 0;
    if (n < rows) return kFirst[pass] + n * kStep[pass];
    n -= rows;
  }
  return height - 1;
}

struct Palette {
  uint8_t rgb[256][3];
};
Palette palette_of(const GifFileType* gif, int transparent, const DecodeOptions& options) {
  Palette p;
  const ColorMapObject* map = gif->Image.ColorMap ? gif->Image.ColorMap : gif->SColorMap;
  for (int i = 0; i < 256; ++i) {
    if (map && i < map->ColorCount) {
      const GifColorType& c = map->Colors[i];
      p.rgb[i][0] = c.Red, p.rgb[i][1] = c.Green, p.rgb[i][2] = c.Blue;
    } else {
      std::memset(p.rgb[i], map ? 0 : i, 3);  // a file without palettes is grey
    }
  }
  if (transparent >= 0 && options.alpha_on_white) std::memset(p.rgb[transparent], 255, 3);
  return p;
}

}  // namespace

ImageInfo probe_gif(const Input& in) {
  Bytes bytes{in.bytes(), in.size()};
  Gif gif = open(in, bytes);
  find_first_frame(in, gif.get());
  Canvas canvas = canvas_of(in, gif.get());
  return {ImageFormat::gif, canvas.width, canvas.height, 1};
}

Image decode_gif(const Input& in, const DecodeOptions& options) {
  Bytes bytes{in.bytes(), in.size()};
  Gif gif = open(in, bytes);
  const int transparent = find_first_frame(in, gif.get());
  const Canvas canvas = canvas_of(in, gif.get());
  const GifImageDesc frame = gif->Image;
  const Palette palette = palette_of(gif.get(), transparent, options);
  Image image(canvas.width, canvas.height);
  const uint8_t* free_color = palette.rgb[transparent >= 0 ? transparent : 0];
  for (int64_t i = 0; i < int64_t(image.width) * image.height; ++i)
    std::memcpy(&image.rgb[size_t(i) * 3], free_color, 3);
  std::vector<GifPixelType> line(static_cast<size_t>(frame.Width));
  for (int n = 0; n < frame.Height; ++n) {
    if (DGifGetLine(gif.get(), line.data(), frame.Width) != GIF_OK) fail_gif(in, gif->Error);
    uint8_t* out =
        image.row(frame.Top + (frame.Interlace ? interlaced_row(n, frame.Height) : n)) + 3 * frame.Left;
    for (int x = 0; x < frame.Width; ++x) std::memcpy(out + 3 * x, palette.rgb[line[size_t(x)]], 3);
  }
  return image;
}

}  // namespace vl8::codec
