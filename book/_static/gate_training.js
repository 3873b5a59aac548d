// Gates over training at three rates: a dot for each gate, from shut (0) to open (1).
// It fills every <div class="gate-training"> with the runs of gate_training_data.js.

(() => {
  const WIDTH = 640, ROW = 92, LEFT = 78;
  const SVG = "http://www.w3.org/2000/svg";
  const x = (gate) => LEFT + gate * (WIDTH - LEFT - 20);

  function draw(parent, name, attributes, text = "") {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  // The dots of a rate: gates of the first task above the line, of the second below it.
  function row(svg, run, place, tasks) {
    const middle = ROW * place + ROW / 2;
    draw(svg, "path", { d: `M${x(0)} ${middle}H${x(1)}`, class: "axis" });
    draw(svg, "text", { x: 8, y: middle - 2 }, `×${run.multiplier}`);
    draw(svg, "text", { x: 8, y: middle + 15, class: "soft" }, `${run.accuracy} %`);
    return run.gates[0].map((_, gate) => {
      const task = gate < run.gates[0].length / tasks.length ? 0 : 1;
      const height = middle + (task ? 1 : -1) * (8 + 4 * (gate % 7));
      return draw(svg, "circle", { cy: height, r: 4.5, class: task ? "second" : "first" });
    });
  }

  function fill(place) {
    const { every, tasks, runs } = window.gateTraining;
    const last = runs[0].gates.length - 1;
    place.innerHTML = `
      <button type="button">Play</button>
      <input type="range" min="0" max="${last}" value="${last}" aria-label="step of the training">
      <output></output>
      <p><b class="first">●</b> ${tasks[0]} <b class="second">●</b> ${tasks[1]};
      below the rate, right answers on unseen pairs</p>`;
    const height = ROW * runs.length + 24;
    const svg = draw(place, "svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
    place.prepend(svg);
    draw(svg, "title", {}, `Gates of ${tasks.join(" and ")} over training at three rates`);
    const rows = runs.map((run, k) => row(svg, run, k, tasks));
    draw(svg, "text", { x: x(0), y: height - 6, "text-anchor": "middle" }, "0");
    draw(svg, "text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, "gate σ(γ)");
    draw(svg, "text", { x: x(1), y: height - 6, "text-anchor": "middle" }, "1");
    const [button, slider] = place.querySelectorAll("button, input");
    let timer = null;

    function show() {
      const frame = Number(slider.value);
      rows.forEach((dots, k) =>
        dots.forEach((dot, gate) => dot.setAttribute("cx", x(runs[k].gates[frame][gate])))
      );
      place.querySelector("output").textContent = `step ${frame * every}`;
    }
    function stop() {
      clearInterval(timer);
      timer = null;
      button.textContent = "Play";
    }
    function play() {
      if (timer) return stop();
      if (Number(slider.value) === last) slider.value = 0;
      button.textContent = "Pause";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (Number(slider.value) === last) stop();
      }, 120);
    }
    button.addEventListener("click", play);
    slider.addEventListener("input", () => { stop(); show(); });
    show();
  }

  document.addEventListener("DOMContentLoaded", () =>
    document.querySelectorAll(".gate-training").forEach(fill)
  );
})();
