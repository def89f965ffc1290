"use strict";
(() => {
  const script = document.currentScript;

  // Times: in the viewer's zone, with UTC on hover.
  const localTime = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
  function localizeTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
      element.dataset.local = "";
      const moment = new Date(element.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      element.title = element.title || `${moment.toISOString().slice(0, 16).replace("T", " ")} UTC`;
      if (!("age" in element.dataset)) element.textContent = localTime.format(moment);
    }
  }

  // Charts: an element with data-chart="URL of a Vega-Lite specification".
  let vega;
  function loadVega() {
    vega ||= new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = script.dataset.vega;
      element.onload = () => resolve(window.vegaEmbed);
      element.onerror = () => reject(new Error("the chart library could not be loaded"));
      document.head.append(element);
    });
    return vega;
  }

  function themeConfig(themes) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      labelColor: color("--ink-2"), titleColor: color("--ink-2"), domainColor: color("--rule"),
      tickColor: color("--rule"), gridColor: color("--rule-2"), titleFontWeight: 500,
    };
    const page = {
      background: "transparent", font: style.fontFamily || "sans-serif",
      view: {stroke: null}, axis, legend: {labelColor: color("--ink-2"), titleColor: color("--ink-2")},
      title: {color: color("--ink"), subtitleColor: color("--ink-2"), anchor: "start", fontSize: 13},
      text: {color: color("--ink")}, rule: {color: color("--ink-2")},
      header: {labelColor: color("--ink"), titleColor: color("--ink-2")},
    };
    const config = {...themes?.[dark ? "dark" : "light"]}; // the colours of marks and scales, and their sizes
    for (const [name, value] of Object.entries(page)) {
      config[name] = typeof value === "object" ? {...config[name], ...value} : value;
    }
    return config;
  }

  async function mountChart(element) {
    if (element.dataset.state) return;
    element.dataset.state = "loading";
    try {
      const [embed, response] = await Promise.all([loadVega(), fetch(element.dataset.chart)]);
      if (!response.ok) throw new Error(`the chart could not be loaded (${response.status})`);
      const spec = await response.json();
      element.replaceChildren();
      const view = await embed(element, spec, {
        ast: true, actions: false, defaultStyle: false, renderer: "svg", config: themeConfig(spec.usermeta?.themes),
        tooltip: {disableDefaultStyle: true}, loader: {target: "_top"},
      });
      element.vegaView = view;
      element.dataset.state = "ready";
    } catch (error) {
      element.dataset.state = "failed";
      element.textContent = `The chart cannot be shown: ${error.message}. The table below has its numbers.`;
    }
  }

  const visible = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { visible.unobserve(entry.target); mountChart(entry.target); }
    }
  }, {rootMargin: "300px"});

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const element of document.querySelectorAll("[data-chart][data-state=ready]")) {
      element.vegaView?.finalize();
      delete element.dataset.state;
      mountChart(element);
    }
  });
  addEventListener("beforeprint", () => document.querySelectorAll("[data-chart]").forEach(mountChart));

  // In Airflow's frame, which cannot navigate the window around it, a link out of it is clicked in the parent document.
  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("a[data-parent]");
    if (!target || window.parent === window) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = new URL(target.getAttribute("data-parent"), window.parent.document.baseURI).href;
    window.parent.document.body.append(outside);
    outside.click();
    outside.remove();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, 1500);
  });

  // A strip of data intervals is one tab stop; arrow keys move in it.
  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.(".strip .cell");
    const steps = {ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling"};
    const next = cell?.[steps[event.key]];
    if (!next) return;
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // A table that is wider than its box can be scrolled with the keyboard.
  const scrollable = new ResizeObserver((entries) => {
    for (const {target} of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });

  function enhance(root) {
    localizeTimes(root);
    for (const element of root.querySelectorAll(".scroll")) scrollable.observe(element);
    for (const element of root.querySelectorAll("[data-chart]:not([data-state])")) visible.observe(element);
  }
  enhance(document);
  document.addEventListener("htmx:afterSettle", (event) => enhance(event.target.parentNode || document));
})();
