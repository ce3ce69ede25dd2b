// Faults of legibility on the page as it is shown. To be seen: text whose contrast is below WCAG 2.2 AA
// (1.4.3), things to press whose outline is (1.4.11), that are lower than 44 CSS px, text that is small,
// cut off or covered. To be heard: whatever has no name, names what is not there, or has no heading.
() => {
  const faults = [];
  const parse = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const contrast = (one, other) => {
    const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const scene = document.querySelector("dialog:modal") ?? document.body;
  const words = (id) => document.getElementById(id)?.textContent.trim() ?? "";
  const named = (element) => {
    const by = (element.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean);
    const alt = element.matches("img") ? element.alt : "";
    const own = element.matches("button, a") ? element.innerText : "";
    return (
      [element.getAttribute("aria-label"), alt, own, ...by.map(words)].some((text) => text?.trim()) ||
      [...(element.labels ?? [])].some((label) => label.innerText.trim())
    );
  };
  const start = (element) => element.outerHTML.slice(0, 70);
  /** Whether something else lies over the middle of a text that can be seen and used. */
  const covered = (element) => {
    if (!scene.contains(element) || element.closest("[inert], .only-read")) return false;
    const range = document.createRange();
    range.selectNodeContents(element);
    const [box] = range.getClientRects();
    if (!box) return false;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) return false;
    const top = document.elementFromPoint(x, y);
    return top !== null && !element.contains(top) && !top.contains(element);
  };
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.right > 0 && box.width > 2 && box.height > 2 && element.checkVisibility({ visibilityProperty: true });
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!shown(element)) continue;
    const text = [...element.childNodes]
      .filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.data.trim())
      .join("");
    const style = getComputedStyle(element);
    if (text) {
      const back = behind(element);
      const ratio = contrast(over(parse(style.color), back), back);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
      if (size < 15) faults.push(`${size}px is small: ${text.slice(0, 40)}`);
      if (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline") {
        faults.push(`cut off: ${text.slice(0, 40)}`);
      }
      if (covered(element)) faults.push(`covered: ${text.slice(0, 40)}`);
      if (/\b[a-z]+(\.[a-z_0-9]+)+\b/.test(text)) faults.push(`no words for: ${text.slice(0, 40)}`);
    }
    if (element.matches("button, a[href], input:not([type=file]), textarea")) {
      if (element.getBoundingClientRect().height < 44 && !element.matches("[type=checkbox]")) {
        faults.push(`low: ${start(element)}`);
      }
    }
    if (element.matches("input[type=text], input[type=password], textarea, button:not(.plain, :disabled)")) {
      const outside = behind(element.parentElement);
      const edges = [parse(style.borderTopColor), parse(style.backgroundColor)];
      const best = Math.max(...edges.map((colour) => contrast(over(colour, outside), outside)));
      if (best < 3) faults.push(`edge ${best.toFixed(2)}: ${start(element)}`);
    }
    if (element.matches("[placeholder]") && element.placeholder) {
      const colour = parse(getComputedStyle(element, "::placeholder").color);
      const back = behind(element);
      if (contrast(over(colour, back), back) < 4.5) faults.push(`pale placeholder: ${start(element)}`);
    }
    const silent = element.closest("[aria-hidden=true]");
    const speaks = "button, a[href], input:not([type=file]), textarea, select, video, progress, output, dialog, [role=alertdialog], [role=img]";
    if (!silent && element.matches(speaks) && !named(element)) faults.push(`no name: ${start(element)}`);
    if (!silent && element.matches("img") && !element.hasAttribute("alt")) faults.push(`no alt: ${start(element)}`);
    if (element.matches("svg") && !silent) faults.push(`a drawing that is read aloud: ${start(element)}`);
    for (const attribute of ["aria-labelledby", "aria-describedby"]) {
      for (const id of (element.getAttribute(attribute) ?? "").split(/\s+/).filter(Boolean)) {
        if (!words(id)) faults.push(`${attribute} names nothing: ${start(element)}`);
      }
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) {
    if (ids.filter((other) => other === id).length > 1) faults.push(`twice the id ${id}`);
  }
  const waits = document.querySelector("main .spinner") !== null;
  const headings = [...document.querySelectorAll("main h1")].filter((heading) => heading.checkVisibility());
  if (!waits && headings.length !== 1) faults.push(`${headings.length} headings of the first level`);
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is wider than the screen");
  return faults;
}
