// Puts each drawing into a frame, in which it scrolls sideways on a narrow screen (custom.css).
// Without this script a drawing shrinks to the width of the screen.

document.addEventListener("DOMContentLoaded", () => {
  const drawings = document.querySelectorAll('.bd-article img[src$=".svg"]:not(td img)'); // no badges
  for (const drawing of drawings) {
    const frame = document.createElement("div");
    frame.className = "drawing";
    drawing.replaceWith(frame);
    frame.append(drawing);
  }
});
