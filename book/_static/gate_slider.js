// A slider from γ to the gate σ(γ), its slope, and one step of SGD and of Adam.
// Plain JavaScript without a library: it fills every <div class="gate-slider"> of a page.

(() => {
  const WIDTH = 640, HEIGHT = 230, REACH = 8; // γ runs from -REACH to REACH
  const SVG = "http://www.w3.org/2000/svg";
  const sigmoid = (gamma) => 1 / (1 + Math.exp(-gamma));
  const x = (gamma) => 40 + ((gamma + REACH) / (2 * REACH)) * (WIDTH - 60);
  const y = (gate) => HEIGHT - 30 - gate * (HEIGHT - 50);

  function draw(parent, name, attributes, text = "") {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  function curve(from, to, value) {
    const points = Array.from({ length: 161 }, (_, i) => from + ((to - from) * i) / 160);
    return points.map((gamma, i) => `${i ? "L" : "M"}${x(gamma)} ${y(value(gamma))}`).join("");
  }

  function axes(svg) {
    draw(svg, "title", {}, "The gate σ(γ) over γ, with its tangent");
    draw(svg, "path", { d: `M${x(-REACH)} ${y(0)}H${x(REACH)}M${x(0)} ${y(0)}V${y(1)}`, class: "axis" });
    for (const gamma of [-8, -4, 0, 4, 8])
      draw(svg, "text", { x: x(gamma), y: HEIGHT - 10, "text-anchor": "middle" }, `${gamma}`);
    for (const gate of [0, 0.5, 1])
      draw(svg, "text", { x: 32, y: y(gate) + 4, "text-anchor": "end" }, `${gate}`);
    draw(svg, "path", { d: curve(-REACH, REACH, sigmoid), class: "curve" });
  }

  // A change of the gate in three significant digits, and how many such steps make 0.01.
  function step(change) {
    const steps = 0.01 / change;
    const many = steps > 1e6 ? "more than a million" : Math.ceil(steps - 1e-9).toLocaleString("en");
    return `moves the gate by ${Number(change.toPrecision(2))}; 0.01 takes ${many} steps`;
  }

  function fill(place) {
    place.innerHTML = `
      <label>γ <input type="range" min="${-REACH}" max="${REACH}" step="0.1" value="0"
        aria-label="gamma"></label>
      <label>rate <select aria-label="rate of gamma">
        <option value="0.0001">0.0001 (×1)</option><option value="0.001">0.001 (×10)</option>
        <option value="0.01" selected>0.01 (×100)</option></select></label>
      <dl aria-live="polite"></dl>`;
    const svg = draw(place, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    place.prepend(svg);
    axes(svg);
    const tangent = draw(svg, "path", { class: "tangent" });
    const dot = draw(svg, "circle", { r: 7, class: "dot" });
    const [slider, rate] = place.querySelectorAll("input, select");

    function show() {
      const gamma = Number(slider.value), eta = Number(rate.value);
      const gate = sigmoid(gamma), slope = gate * (1 - gate);
      const line = (at) => gate + slope * (at - gamma);
      tangent.setAttribute("d", curve(gamma - 1.5, gamma + 1.5, line));
      dot.setAttribute("cx", x(gamma));
      dot.setAttribute("cy", y(gate));
      const rows = {
        "gate σ(γ)": `${gate.toFixed(4)} at γ = ${gamma.toFixed(1)}`,
        "slope σ(1 − σ)": slope.toFixed(4),
        "one step of SGD": step(eta * slope * slope),
        "one step of Adam": step(eta * slope),
      };
      place.querySelector("dl").innerHTML = Object.entries(rows)
        .map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`)
        .join("");
    }
    slider.addEventListener("input", show);
    rate.addEventListener("input", show);
    show();
  }

  document.addEventListener("DOMContentLoaded", () =>
    document.querySelectorAll(".gate-slider").forEach(fill)
  );
})();
