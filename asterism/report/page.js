// Draws the charts of the report, sorts its tables and joins its maps. Texts are only ever set as
// text; the data come from one JSON element.
"use strict";
(() => {
  const runs = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const element = (name, options = {}, ...children) => {
    const made = Object.assign(document.createElement(name), options);
    made.append(...children);
    return made;
  };
  const percent = (value) => `${value.toFixed(1)} %`;
  // Other people's names stay in their own direction.
  const isolated = (text) => `\u2068${text}\u2069`;
  const STUDENT = "var(--student)", TEACHER = "var(--teacher)", QUIET = "var(--quiet)";
  const base = { marginBottom: 42, style: { background: "transparent", fontSize: "12px", fontFamily: "inherit" } };

  // Theme

  document.getElementById("theme").addEventListener("change", (event) => {
    document.documentElement.dataset.theme = event.target.value;
  });

  // Sortable tables

  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => row.children[column].dataset.sort;
      const order = (a, b) => a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b);
      const rows = all("tbody tr", table).sort((a, b) => {
        if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
        return (down ? 1 : -1) * order(value(a), value(b));
      });
      table.tBodies[0].append(...rows);
    }));
  }

  // Charts

  const key = (...entries) => {
    const made = element("div", { className: "key" });
    for (const [text, shade, kind] of entries) {
      const entry = element("span", { textContent: text, className: kind || "" });
      entry.style.setProperty("--shade", shade);
      made.append(entry);
    }
    return made;
  };
  const charts = {
    curves: (curves, width) => {
      const gap = 24, columns = Math.max(1, Math.floor((width + gap) / (240 + gap)));
      return Object.entries(curves).map(([name, points]) => element("div", {},
        element("p", { textContent: isolated(name) }),
        Plot.plot({
          ...base, width: Math.floor((width + gap) / columns - gap), height: 150, marginLeft: 44, marginTop: 10,
          x: { label: "step", ticks: 3 }, y: { label: null, ticks: 4, grid: true, nice: true },
          marks: [Plot.line(points, {
            stroke: name.startsWith("validation") ? TEACHER : STUDENT, strokeWidth: 1.75,
            marker: points.length < 3 ? "dot" : null,
          }), Plot.tip(points, Plot.pointerX({ title: (d) => `step ${d[0]}: ${d[1]}` }))],
        })));
    },
    distances: ({ points, tenths }, width) => {
      const side = Math.min(width, 480), most = Math.max(...points.flat());
      const domain = [0, most];
      return [
        key(["student’s median", STUDENT], ["same as the teacher", QUIET, "dashed"]),
        Plot.plot({
          ...base, width: side, height: side * 0.85, x: { domain, label: "teacher’s distance / mean" },
          y: { domain, label: "student’s distance / mean", grid: true },
          marks: [
            Plot.dot(points, { r: 1.5, fill: "currentColor", fillOpacity: 0.22 }),
            Plot.line([[0, 0], [most, most]], { stroke: QUIET, strokeDasharray: "5 4" }),
            Plot.line(tenths, { x: "0", y: "2", stroke: STUDENT, strokeWidth: 2.5, marker: "dot" }),
          ],
        }),
      ];
    },
    overlap: ({ rows }, width) => [
      key(["kept", STUDENT], ["chance", QUIET, "dashed"]),
      Plot.plot({
        ...base, width, height: Math.min(400, Math.max(240, width * 0.75)), x: { label: "k", ticks: Math.min(rows.length, 10), tickFormat: "d" },
        y: { label: "neighbours kept, %", grid: true, zero: true },
        marks: [
          Plot.areaY(rows, { x: "0", y1: "2", y2: "3", fill: STUDENT, fillOpacity: 0.2 }),
          Plot.line(rows, { x: "0", y: "4", stroke: QUIET, strokeDasharray: "5 4" }),
          Plot.line(rows, { x: "0", y: "1", stroke: STUDENT, strokeWidth: 2, marker: "dot" }),
          Plot.tip(rows, Plot.pointerX({ x: "0", y: "1", title: (d) => `k = ${d[0]}\nkept ${percent(d[1])}\nchance ${percent(d[4])}` })),
        ],
      }),
    ],
    correlations: ({ names, cells }, width) => {
      const side = Math.min(width, 480), named = names.length <= 15 && side > 300;
      const margin = named ? Math.min(16 + 7 * Math.max(...names.map((d) => d.length)), side * 0.3) : 14;
      const most = Math.max(0.1, ...cells.map((d) => Math.abs(d[2])));
      const axis = { domain: names.map((_, i) => i), label: null, tickSize: 0, tickFormat: named ? (i) => isolated(names[i]) : () => "" };
      const shade = (d) => `color-mix(in oklab, ${d[2] > 0 ? STUDENT : TEACHER} ${100 * Math.abs(d[2]) / most}%, transparent)`;
      return [
        key([`more than the teacher’s, up to ${most.toFixed(2)}`, STUDENT, "bar"], ["less", TEACHER, "bar"]),
        Plot.plot({
          ...base, width: side, height: side, marginLeft: margin, marginBottom: margin, marginTop: 4,
          x: { ...axis, tickRotate: -90 }, y: axis,
          marks: [
            Plot.frame({ stroke: QUIET, strokeOpacity: 0.4 }),
            Plot.cell(cells, { x: "0", y: "1", fill: shade, inset: 0.5 }),
            Plot.tip(cells, Plot.pointer({ x: "0", y: "1", title: (d) => `${isolated(names[d[1]])} and ${isolated(names[d[0]])}: ${d[2] > 0 ? "+" : ""}${d[2]}` })),
          ],
        }),
      ];
    },
    classes: ({ score, rows }, width) => {
      const entries = rows.map(([name, count, student, teacher], i) => ({ name, count, student, teacher, i }));
      const longest = Math.max(...entries.map((d) => d.name.length));
      const teachers = entries.filter((d) => d.teacher !== null);
      return [
        key(["student", STUDENT, "bar"], ...(teachers.length ? [["teacher", TEACHER, "tick"]] : [])),
        Plot.plot({
          ...base, width, height: 46 + 24 * entries.length, marginLeft: Math.min(16 + 7 * longest, width * 0.4), marginTop: 4,
          x: { label: `${score}, %`, domain: [0, 100], grid: true },
          y: { label: null, domain: entries.map((d) => d.i), tickFormat: (i) => isolated(entries[i].name), tickSize: 0 },
          marks: [
            Plot.barX(entries, { y: "i", x: "student", fill: STUDENT, insetTop: 3, insetBottom: 3 }),
            Plot.tickX(teachers, { y: "i", x: "teacher", stroke: TEACHER, strokeWidth: 3 }),
            Plot.tip(entries, Plot.pointerY({ y: "i", x: "student", title: (d) => `${isolated(d.name)}, ${d.count} rows\nstudent ${d.student === null ? "–" : percent(d.student)}${d.teacher === null ? "" : `\nteacher ${percent(d.teacher)}`}` })),
          ],
        }),
      ];
    },
  };

  // Maps

  const PALETTE = ["#4269d0", "#d18f00", "#ff725c", "#4aa68f", "#3ca951", "#e5639b", "#a463f2", "#6f9cf0", "#9c6b4e", "#8b909a"];
  const shadeOf = (map) => {
    if (map.class && map.classes.length <= PALETTE.length) return (i) => PALETTE[map.class[i]];
    if (!map.kept) return () => STUDENT;
    return (i) => `color-mix(in oklab, var(--many) ${Math.min(100, 100 * map.kept[i])}%, var(--few))`;
  };
  const drawMap = (root) => {
    const { map, sheet, columns, sheetRows } = runs[root.dataset.run];
    const panels = root.querySelector(".panels"), slider = root.querySelector("input");
    const detail = root.querySelector(".detail"), shade = shadeOf(map);
    const rings = [];
    const indices = map.rows.map((_, i) => i);
    // One scale for both axes and both maps: distances on the page compare.
    const extent = (axis) => d3.extent(Object.values(map.maps).flat(), (point) => point[axis]);
    const middle = [extent(0), extent(1)].map(([low, high]) => (low + high) / 2);
    const half = Math.max(...[extent(0), extent(1)].map(([low, high]) => high - low), 1e-9) * 0.52;
    const domain = (axis) => [middle[axis] - half, middle[axis] + half];
    const width = Math.min(560, Object.keys(map.maps).length < 2 || panels.clientWidth < 560 ? panels.clientWidth : (panels.clientWidth - 16) / 2);
    panels.replaceChildren();
    for (const [who, points] of Object.entries(map.maps)) {
      const plot = Plot.plot({
        ...base, width, height: width, margin: 6, marginBottom: 6, axis: null, x: { domain: domain(0) }, y: { domain: domain(1) },
        // The least kept are drawn last, over the others.
        marks: [Plot.dot(indices.slice().reverse(), { x: (i) => points[i][0], y: (i) => points[i][1], r: 2.6, fill: shade, fillOpacity: 0.85 })],
      });
      plot.setAttribute("aria-hidden", "true");
      const places = points.map(([x, y]) => [plot.scale("x").apply(x), plot.scale("y").apply(y)]);
      const ring = document.createElementNS("http://www.w3.org/2000/svg", "g");
      ring.setAttribute("class", "ring");
      ring.setAttribute("visibility", "hidden");
      for (const [radius, stroke, size] of [[8, "var(--paper)", 6], [8, "var(--ink)", 3]]) {
        const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        for (const [name, value] of Object.entries({ r: radius, fill: "none", stroke, "stroke-width": size })) circle.setAttribute(name, value);
        ring.append(circle);
      }
      plot.append(ring);
      rings.push((i) => {
        ring.setAttribute("transform", `translate(${places[i]})`);
        ring.setAttribute("visibility", "visible");
      });
      const nearest = (event) => {
        const box = plot.getBoundingClientRect(), scale = width / box.width;
        const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
        let best = 0, least = Infinity;
        places.forEach(([px, py], i) => {
          const distance = (px - x) ** 2 + (py - y) ** 2;
          if (distance < least) [best, least] = [i, distance];
        });
        slider.value = best;
        choose(best);
      };
      plot.addEventListener("pointermove", nearest);
      plot.addEventListener("pointerdown", nearest);
      panels.append(element("div", { className: "panel" }, element("p", { textContent: who }), plot));
    }
    const choose = (i) => {
      rings.forEach((mark) => mark(i));
      const label = map.class ? `class ${map.classes[map.class[i]]}` : "";
      const kept = map.kept ? `${percent(100 * map.kept[i])} of the teacher’s neighbours kept` : "";
      const words = element("div", {}, ...[map.texts && map.texts[i], map.names[i], label, kept]
        .filter(Boolean).map((text) => element("p", {}, element("bdi", { textContent: text }))));
      detail.replaceChildren(words);
      if (sheet !== null) {
        const row = map.rows[i], picture = element("span", { className: `picture sheet${sheet}` });
        const right = row % columns, down = Math.floor(row / columns);
        picture.style.backgroundPosition = `${100 * right / Math.max(columns - 1, 1)}% ${100 * down / Math.max(sheetRows - 1, 1)}%`;
        detail.prepend(picture);
      }
      slider.setAttribute("aria-valuetext", [map.names[i], label, kept].filter(Boolean).join(", "));
      root.dataset.chosen = i;
    };
    slider.oninput = () => choose(Number(slider.value));
    slider.onfocus = slider.oninput;
    if (root.dataset.chosen) choose(Number(root.dataset.chosen));
    if (map.class && map.classes.length <= PALETTE.length) {
      root.querySelector(".legend").replaceChildren(...map.classes.map((name, i) => {
        const dot = element("span");
        dot.style.background = PALETTE[i];
        return element("li", {}, dot, element("bdi", { textContent: name }));
      }));
    }
  };

  // Drawn at the width there is, and again when it changes.

  const widths = new WeakMap();
  const watcher = new ResizeObserver((entries) => {
    for (const { target, contentRect: { width } } of entries) {
      if (width < 1 || Math.abs(width - (widths.get(target) || 0)) < 2) continue;
      widths.set(target, width);
      if (target.matches(".map")) {
        drawMap(target);
        continue;
      }
      const { run, kind } = target.dataset;
      target.replaceChildren(...charts[kind](runs[run].figures[kind], width));
      all("svg", target).forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    }
  });
  all(".chart, .map").forEach((target) => watcher.observe(target));

  // On paper every table is open.

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
})();
