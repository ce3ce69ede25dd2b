// Faults of legibility on the page as it is shown: text whose contrast is below WCAG 2.2 AA (1.4.3),
// things to press that are smaller than 44 CSS px high or have no name, and text that is cut off.
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
      const [a, b] = [luminance(over(parse(style.color), back)), luminance(back)].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
      if (size < 15) faults.push(`${size}px is small: ${text.slice(0, 40)}`);
      if (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline") {
        faults.push(`cut off: ${text.slice(0, 40)}`);
      }
      if (/\b[a-z]+(\.[a-z_0-9]+)+\b/.test(text)) faults.push(`no words for: ${text.slice(0, 40)}`);
    }
    if (element.matches("button, a[href], input:not([type=file]), textarea")) {
      const name = element.getAttribute("aria-label") ?? element.innerText ?? "";
      const labelled = element.labels?.length || element.getAttribute("aria-labelledby");
      if (!name.trim() && !labelled) faults.push(`no name: ${element.outerHTML.slice(0, 60)}`);
      if (element.getBoundingClientRect().height < 44) faults.push(`low: ${element.outerHTML.slice(0, 60)}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is wider than the screen");
  return faults;
}
