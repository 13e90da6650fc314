// What a checkpoint of TensorFlow's holds besides the weights.

/** Whether a variable belongs to the training: averages, momenta, the number of steps. */
export function isOptimizerState(name: string): boolean {
  return (
    /\/(Momentum|RMSProp(_\d+)?|Adam(_\d+)?|Adagrad|ExponentialMovingAverage)$/.test(name) ||
    /(^|\/)(global_step|beta[12]_power|learning_rate)$/.test(name)
  );
}
