// Makes elements. Text is always set as text, never as HTML, so that nothing a server or a learner
// wrote can become markup; styles come from classes only (the pages' CSP allows no others).

/**
 * Make an element.
 *
 * @param {string} tag        e.g. "button", "section.card" or "p.quiet.small"
 * @param {object} [props]    attributes; `on<event>` adds a listener; `true`/`false`/null set or
 *                            leave out; properties `value`, `checked`, `disabled`, `srcObject` are set
 * @param {...(Node|string|null|false|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on") && typeof value === "function") {
      element.addEventListener(key.slice(2), value);
    } else if (["value", "checked", "disabled", "srcObject", "muted"].includes(key)) {
      element[key] = value;
    } else {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  add(element, children);
  return element;
}

/** Replace everything inside `parent`. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
  return parent;
}

function add(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child);
  }
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make a line drawing of 24 x 24 units that takes its colour from the text around it.
 *
 * @param {string} path     the `d` of one path
 * @param {string} [cls]    a class of the drawing
 */
export function icon(path, cls = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", cls);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  arrow: "M20 12H5M11 5l-7 7 7 7",
  centre: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  ok: "M4 12.5l5.5 5.5L20 6.5",
  wait: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5.5l3.5 2",
  pause: "M8 5v14M16 5v14",
  play: "M7 4.5v15l12-7.5z",
  warn: "M12 3.5L2.5 20h19zM12 10v4.5M12 17.2v.3",
  camera: "M3 7.5h4l1.5-2.5h7L17 7.5h4v12H3zM12 9.5a3.75 3.75 0 1 0 0 7.5 3.75 3.75 0 0 0 0-7.5z",
  network: "M2.5 9a14 14 0 0 1 19 0M6 12.8a9 9 0 0 1 12 0M9.3 16.4a4.2 4.2 0 0 1 5.4 0M12 19.8v.2",
  back10: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5",
  sound: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM15.5 8.5a5 5 0 0 1 0 7M18 6a8.5 8.5 0 0 1 0 12",
  silent: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5",
  left: "M15 5l-7 7 7 7",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c.8-4 3.8-6 7.5-6s6.700 2 7.500 6",
  seal: "M12 3l2.300 1.900 3-.200.700 2.900 2.500 1.600-1.200 2.700 1.200 2.800-2.500 1.600-.700 2.900-3-.200L12 21l-2.300-2-3 .200-.700-2.900-2.500-1.600 1.200-2.800L3.500 9.200 6 7.600l.700-2.900 3 .200zM8.500 12l2.500 2.500 4.500-5",
};
