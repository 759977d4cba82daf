// Inside media only: a JPEG read row by row, so that a picture can be resized while it is decoded.
#pragma once
#include <memory>

#include "media/codec.h"

namespace vl8::codec {

// libjpeg-turbo with the accurate integer DCT and smooth chroma upsampling, as Pillow uses it. Errors of the
// library leave it by longjmp, but only across frames without destructors, and go on as Error(input).
class JpegReader {
 public:
  explicit JpegReader(const Input& in);  // reads the header and checks the limits
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  int width() const;
  int height() const;
  int orientation() const { return orientation_; }

  void start();  // a progressive file is read to its end here
  // Writes the next rows, as RGB, at rgb, rgb + stride ..; returns how many: `rows`, or fewer at the end.
  int read(uint8_t* rgb, size_t stride, int rows);

 private:
  struct State;
  std::unique_ptr<State> state_;
  const Input& in_;
  int orientation_ = 1;
};

}  // namespace vl8::codec
