// The camera of a virtual learner: replaces getUserMedia by a canvas on which photographs of a person
// are drawn with hand-held motion. The person does what the page says: it looks at the arrow that is
// shown (the page's own DOM, as eyes would) and shows the photograph that is turned that way.
//
// window.virtualFaces: {neutral, left, right, up, down} as data URLs; window.virtualCamera steers it:
//   .cover = true      a hand before the lens
//   .faces = {...}     somebody else sits down
//   .obeys = false     does not follow the arrows
//   .end()             the device is taken away
{
  const WIDTH = 640;
  const HEIGHT = 480;
  const REACT_MS = 450; // people need a moment to read
  const TURN_MS = 350; // and another to turn
  const camera = { cover: false, obeys: true, denied: null, faces: {}, tracks: [] };
  window.virtualCamera = camera;

  camera.load = async (urls) => {
    const entries = Object.entries(urls).map(async ([pose, url]) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      return [pose, image];
    });
    camera.faces = Object.fromEntries(await Promise.all(entries));
  };
  const loaded = camera.load(window.virtualFaces ?? {});

  // Frequencies of postural sway, 0.02-0.4 Hz, as in benren/demo/motion.py: each quantity has its
  // own, or the same picture comes back every few seconds, and is taken for a recording.
  const OWN = {
    x: [0.59, 1.37, 0.23],
    y: [0.71, 1.49, 0.43],
    roll: [1.07, 0.37, 1.63],
    scale: [0.83, 1.91, 0.31],
    light: [0.47, 1.21, 0.29],
  };
  const phase = Object.fromEntries(Object.keys(OWN).map((name) => [name, 6.28 * Math.random()]));
  const sway = (t, name) => {
    const [a, b, c] = OWN[name];
    const p = phase[name];
    return (
      0.5 * Math.sin(a * t + p) + 0.3 * Math.sin(b * t + 2 * p + 1) + 0.2 * Math.sin(c * t + 3 * p + 2)
    );
  };
  // Nobody sits down twice in the same place.
  const within = (low, high) => low + (high - low) * Math.random();
  const seat = { x: within(-20, 20), y: within(-9, 9), scale: within(1.2, 1.3) };

  let pose = "neutral";
  let asked = "neutral";
  let askedAt = 0;
  const read = (now) => {
    const arrow = document.querySelector(".challenge:not([hidden]) .turn-arrow");
    const wish = arrow === null ? "neutral" : (arrow.dataset.turn ?? "neutral");
    if (wish !== asked) {
      asked = wish;
      askedAt = now;
    }
    if (camera.obeys && now - askedAt > REACT_MS) pose = asked;
  };

  const paint = (context, now) => {
    read(now);
    const t = now / 1000;
    if (camera.cover) {
      // A hand before the lens: warm and dark, with the noise that a sensor has in the dark.
      for (let y = 0; y < HEIGHT; y += 24) {
        for (let x = 0; x < WIDTH; x += 24) {
          const noise = Math.random() * 16;
          context.fillStyle = `rgb(${22 + noise} ${14 + noise} ${10 + noise})`;
          context.fillRect(x, y, 24, 24);
        }
      }
      return;
    }
    const image = camera.faces[pose] ?? camera.faces.neutral;
    if (!image) {
      context.fillStyle = `rgb(90 ${100 + Math.round(20 * sway(t, "light"))} 110)`; // an empty chair
      context.fillRect(0, 0, WIDTH, HEIGHT);
      return;
    }
    const blend = Math.min(1, (now - askedAt - REACT_MS) / TURN_MS);
    const scale = seat.scale + 0.035 * sway(t, "scale") + (blend > 0 && blend < 1 ? 0.01 * blend : 0);
    context.save();
    context.filter = `brightness(${1 + 0.03 * sway(t, "light")})`;
    const [x, y] = [seat.x + 20 * sway(t, "x"), seat.y + 16 * sway(t, "y")];
    context.translate(WIDTH / 2 + x, HEIGHT / 2 + y);
    context.rotate(0.035 * sway(t, "roll"));
    context.scale(scale, scale);
    context.drawImage(image, -WIDTH / 2, -HEIGHT / 2, WIDTH, HEIGHT);
    context.restore();
  };

  const open = async () => {
    if (camera.denied) throw new DOMException("refused by the test", camera.denied);
    await loaded;
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext("2d");
    paint(context, performance.now());
    const stream = canvas.captureStream(15);
    const [track] = stream.getVideoTracks();
    camera.tracks.push(track);
    const timer = setInterval(() => {
      if (track.readyState === "ended") clearInterval(timer);
      else paint(context, performance.now());
    }, 66);
    return stream;
  };
  navigator.mediaDevices.getUserMedia = open;

  camera.end = () => {
    for (const track of camera.tracks) {
      if (track.readyState === "ended") continue;
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }
  };
}
